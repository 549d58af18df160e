"""Backends: each turns loop nests into something that runs."""
