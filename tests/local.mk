# tests/ may include anything.
