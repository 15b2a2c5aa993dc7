"""What `labsupport.engine.images` is made of: archives, layers, and what can be told of them."""
