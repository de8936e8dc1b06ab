"""What the scenarios are made of: a subject (the proxy under test), a scripted
origin behind it, a scripted client in front of it, and ways to wait for facts."""
