"""The emulator, driven over real HTTP."""
