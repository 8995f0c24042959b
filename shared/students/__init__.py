"""What students do: watch, leave, take their data along; who is asking; what Resend says of their address."""
