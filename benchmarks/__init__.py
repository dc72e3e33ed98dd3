"""Programs that put ftkit and its peers side by side; README.md says how to run and read them."""
