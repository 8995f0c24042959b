"""The deployment, played: real Debian systems with a live systemd in boxes, from installation to power loss.

Nothing of it touches the machine: processes, mounts and networks live in namespaces that end with the rehearsal.
"""
