"""`./run.sh mutate`: single faults are put into the code at random, and the tests have to notice them."""
