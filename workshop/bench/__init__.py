"""Measures what the product costs: `./run.sh bench`. docs/performance.md explains method and figures.

`command` runs the measurements of the `measure_*` modules in order, `meters` reads what the operating system and
Redis count, `site` starts the real product, `rivals` runs the queue of this project and its peers alternately.
"""
