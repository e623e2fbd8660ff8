"""Batches: a data set of prompts expanded into a folder of parts, on this machine or on a Ray cluster.

    inputs    files of prompts as numbered rows, cut into parts of equal length
    requests  a row as a request, and the columns that are passed through
    worker    one part: its rows read, expanded and written
    output    the folder: parts that are there whole or not at all, bad rows, the manifest
    parquet   what needs pyarrow
    batch     the plan of a run, and the run on this machine
    cluster   the run on Ray

A part depends on the plan and its number alone, so whoever writes it, and whenever, writes the same bytes.
"""
