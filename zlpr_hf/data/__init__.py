"""From files, the Hub or a built-in corpus to batches: read, take labels, split, encode, collate."""
