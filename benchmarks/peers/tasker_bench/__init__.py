"""The app that holds the benchmark's runners."""
