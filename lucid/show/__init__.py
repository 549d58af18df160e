"""What Lucid shows: the main job `lucid demo` and the page that it writes.

Called by the command line; loaded on first use.
"""
