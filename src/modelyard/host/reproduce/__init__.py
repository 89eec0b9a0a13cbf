"""`make reproduce`: hands recorded code from the checkout to the training container."""
