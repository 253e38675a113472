"""What calls cost the client, measured beside other clients in the same run: `python -m benchmarks --help`."""
