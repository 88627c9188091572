"""Cameras while they run: several on one model, the page in a browser, streams and windows.

Begin with `cameras`, for the page with `live_view` (what the browser runs is in `page/`), for streams with `publisher`.
"""
