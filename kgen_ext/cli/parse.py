"""`kgen parse`: the spans of a prompt, and what a model may see of it.

    spans       START-END KIND TEXT [weight] [-> text as read]      one per line, in reading order; they may overlap
    segments    one per subject, with its tags and its text         anything else is hidden from the model
"""
from __future__ import annotations

import argparse
import sys

from kgen_ext.cli.inputs import require_text
from kgen_ext.request import FIELDS, split_list

SUMMARY = "show how a prompt is parsed, and what a model may see of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("prompt", metavar="PROMPT", help="the prompt. One that begins with - goes last, behind --")
    parser.add_argument("--protect", default="", metavar="WORDS", help=FIELDS["protect"].help)


def run(arguments: argparse.Namespace) -> int:
    """Print spans and segments."""
    from kgen_ext.prompt import Span, parse, shown_text, subjects
    from kgen_ext.rules.entries import read_patterns
    from kgen_ext.rules.patterns import compile_patterns
    from kgen_ext.tags.tag import read_tag

    source: str = arguments.prompt
    require_text("PROMPT", source)
    require_text("--protect", arguments.protect)
    protected = compile_patterns(read_patterns(split_list("protect", arguments.protect)))
    prompt = parse(source)

    def line(span: Span) -> str:
        text = source[span.start : span.end]
        weight = f"  weight {span.weight:g}" if span.weight != 1.0 else ""
        reads = f"  -> {span.shown!r}" if span.shown not in ("", text) else ""
        return f"  {f'{span.start}-{span.end}':<10}{span.kind.value:<12} {text!r}{weight}{reads}\n"

    write = sys.stdout.write
    write("spans\n")
    for span in prompt.spans:
        write(line(span))
    seen = subjects(prompt, protect=(lambda tag: protected.match(tag) is not None,))
    for number, (segment, subject) in enumerate(zip(prompt.segments, seen, strict=True), 1):
        write(f"segment {number}, {segment.start}-{segment.end}: what the model may see\n")
        write(f"  tags      {', '.join(repr(read_tag(tag).shown) for tag in subject.tags) or 'none'}\n")
        write(f"  text      {repr(shown_text(subject.text)) if subject.text else 'none'}\n")
    return 0
