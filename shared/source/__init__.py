"""Who is asked about seats, and whether they may be asked now."""

import warnings

from shared.lean import absent

with absent("charset_normalizer"), warnings.catch_warnings():
    # 2 MB to guess how a text is encoded; everything we are sent is JSON. Without it, requests warns.
    warnings.simplefilter("ignore")
    import requests as requests
