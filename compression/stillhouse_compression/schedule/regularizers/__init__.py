"""The regularisers: each adds a term to the loss, some zero what has become small."""
