"""Runs the platform under load while its processes and servers are killed, and judges what became of every slot."""
