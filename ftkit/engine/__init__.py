"""Training, evaluation, prediction and export: the only layer that imports torch and transformers at the top."""
