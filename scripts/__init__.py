"""The local machinery: what `make` runs, and the embedded servers of development and tests."""
