"""What the two Ollama routes share: a folder of pieces, not a dialect. Source: client contracts 5; ollama/ollama."""
