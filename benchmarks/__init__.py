"""Speed and quality, measured: `make bench` and `make table`."""
