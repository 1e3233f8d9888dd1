"""Where records go: the local store and Langfuse."""
