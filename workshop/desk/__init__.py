"""The desk of `./run.sh up --local`: one page that says what is where, and hands that reach the product.

The campus's page asks it who watches what, and to have a section looked at now.
"""
