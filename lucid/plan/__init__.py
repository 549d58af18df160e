"""The planner: a graph in, native segments out. Eager hands it one op at a time."""
