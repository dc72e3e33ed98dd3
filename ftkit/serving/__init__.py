"""`serve`: a model behind HTTP, with a page to try it. Only `cli/serve` imports it: its libraries are an extra."""
