"""Calls of JavaScript functions with long texts that are not ASCII.

Pyodide makes such a text character by character, and each of them takes over 20 bytes until the engine frees them. So long texts cross
as UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents_store_cloudflare.cloudflare.raw import JsObject, ffi

__all__ = ["called_with_bytes"]


def called_with_bytes(function: JsObject, arguments: Sequence[JsObject], this: JsObject) -> JsObject:
    """Return the result of `raw.called`, where texts that are not ASCII cross as bytes."""
    from js import Array, Reflect

    crossing = Array.new()
    for each in arguments:
        if type(each) is str and not each.isascii():
            crossing = crossing.concat(_text_in_array(each))
        else:
            crossing.push(each)
    return Reflect.apply(function, this, crossing)


def _text_in_array(text: str) -> JsObject:
    """Return a JavaScript array with the text. A text by itself would become Python's again."""
    from js import Array, Object, TextDecoder

    to_js = ffi().to_js
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return Array.of(text)
    decoder = TextDecoder.new("utf-8", to_js({"ignoreBOM": True}, dict_converter=Object.fromEntries))
    decode = decoder.decode
    # `map` calls its function with three arguments. `apply` takes the first one, a list of arguments, and ignores the others.
    return Array.of(Array.of(to_js(data))).map(decode.apply.bind(decode, decoder))
