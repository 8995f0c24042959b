"""`./run.sh ops …`: the operator's commands, one module a noun."""
