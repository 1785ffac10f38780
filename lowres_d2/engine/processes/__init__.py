"""The processes of a run: devices, launch, meeting, and what one tells the others."""
