"""Stands for a model, without a network: it looks the word up, and says what came of it. It always answers alike."""

from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

__all__ = ["WordsModel"]


class WordsModel(Model):
    """Calls the tool with the user's word, then answers with what the tool has said."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:  # noqa: A002
        """Return the next item of the assistant."""
        last, number = input[-1], len(input)
        if last.get("type") == "function_call_output":
            text = ResponseOutputText(type="output_text", text=f"It is {last['output']}.", annotations=[])
            item: Any = ResponseOutputMessage(
                id=f"message-{number}", type="message", role="assistant", status="completed", content=[text]
            )
        else:
            item = ResponseFunctionToolCall(
                type="function_call",
                call_id=f"call-{number}",
                name="look_up",
                arguments=f'{{"word": "{last["content"]}"}}',
            )
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=[item], usage=usage, response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Refuse: nothing here streams."""
        raise NotImplementedError
