"""An extension of griffe, which reads the package for the site without importing it.

The constructors of `keras_resnet.applications` are made by a function when the module is
imported: these, and only these, are taken from the imported module.
"""

import griffe


class MadeAtImport(griffe.Extension):
    """Has the constructors inspected, not read."""

    def on_module(self, *, mod, loader, **kwargs):
        """Replaces the constructors among a module's members."""
        if mod.path != "keras_resnet.applications":
            return
        paths = loader.finder.search_paths
        inspected = griffe.inspect(mod.path, filepath=mod.filepath, import_paths=paths)
        for name, member in inspected.members.items():
            read = mod.members.get(name)
            if isinstance(member, griffe.Function) and isinstance(
                read, griffe.Attribute
            ):
                mod.set_member(name, member)
