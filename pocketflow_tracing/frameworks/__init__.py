"""What is traced: `pocketflow` puts hooks on PocketFlow, the modules beside it are what they do."""
