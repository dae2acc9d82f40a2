"""The only composer: wires the rooms together."""
