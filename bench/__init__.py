"""What does the project say of its own speed, and does it hold beside its peers and beside the limit?"""
