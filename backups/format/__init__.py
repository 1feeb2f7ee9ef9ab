"""What a backup is made of, as it lies in a store: units, chunks, packs, an index, a manifest, and chains of them."""
