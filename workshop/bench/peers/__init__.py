"""The same four trials for each queue, each in a process of its own: `python -m workshop.bench.peers.leased …`.

    enqueue URL COUNT      queue COUNT jobs in the quickest way that the queue offers
    drain URL COUNT NAP    work on COUNT queued jobs of NAP seconds with four workers
    pickup URL COUNT       an idle worker is given COUNT jobs one by one
    retry URL COUNT        COUNT jobs fail once and are due again in a second

Each prints one line of JSON; `trial.py` holds what those in Python share, `bullmq.mjs` is the one in JavaScript.
"""
