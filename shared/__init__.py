"""What the functions and the consumer share: rules, flows, stores, clients."""
