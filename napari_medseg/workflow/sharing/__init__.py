"""Images and labels of a project without identities, to pass on."""
