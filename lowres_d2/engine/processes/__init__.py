"""The processes of a run: device, rendezvous, what they share, and what happens when one fails."""
