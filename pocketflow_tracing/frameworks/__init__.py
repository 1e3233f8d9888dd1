"""What is traced: one module per framework."""
