"""Demo page: expansion and pictures in the browser without a WebUI, served by gradio (`kgen demo`).

    command    options, and what is said on the console         server   gradio's server: what it may serve and fetch
    page       the page's components and events                 html     what the page shows of a run
    inputs     the table of inputs, and the request they make   link     a run as the query of an address
    turns      the queue, and the limits of each visitor        tasks    a visitor's work, in a thread
    expanding  the work of an expansion                         drawing  the work of a pair of pictures
    images     clients of the programs that draw                offers   the models to choose from
"""
