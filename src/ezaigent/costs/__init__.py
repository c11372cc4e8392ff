"""The room `costs`."""
