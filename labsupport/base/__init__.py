"""The base image of the tutorials' app, made from Debian packages for where no image is pulled."""
