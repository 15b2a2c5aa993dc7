"""What a sandbox's network is made of and asked by; `labsupport.linux.network` is its face."""
