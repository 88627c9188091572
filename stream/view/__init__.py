"""The live view in a browser. Begin with `live_view`, then `app`; what the browser runs is in `page/`."""
