// SPDX-License-Identifier: Apache-2.0
#include "engine/text/role_traits.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

// Without white space, quotes or markup, which a template may strip or escape.
constexpr char kFirst[] = "probeone", kSecond[] = "probetwo";

Json Part(const char* text) { return {{"type", "text"}, {"text", text}}; }

// Content of the messages around the probed one.
Json Filler(const char* text, bool as_list) {
  return as_list ? Json::array({Part(text)}) : Json(text);
}

// A tool call in the form that the strictest templates accept (an id of nine letters).
Json CallMessage() {
  return Json::parse(R"({"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi",
      "type": "function", "function": {"name": "probe", "arguments": {"a": 1}}}]})");
}

// The places in which a role may be printed. The first is where system messages stand.
constexpr int kNumPlaces = 5;

// A conversation with `probed` in that place; its index there.
Json Conversation(int place, const Json& probed, bool fillers_as_list, size_t* index) {
  const Json user = {{"role", "user"}, {"content", Filler("question", fillers_as_list)}};
  const Json assistant = {{"role", "assistant"}, {"content", Filler("answer", fillers_as_list)}};
  switch (place) {
    case 0:
      *index = 0;
      return Json::array({probed, user, assistant});
    case 1:
      *index = 0;
      return Json::array({probed, assistant});
    case 2:
      *index = 1;
      return Json::array({user, probed});
    case 3:
      *index = 2;
      return Json::array({user, CallMessage(), probed, assistant});
    default:
      *index = 2;
      return Json::array({user, assistant, probed, assistant});
  }
}

Json ProbedMessage(const std::string& role, Json content) {
  Json message = {{"role", role}, {"content", std::move(content)}};
  if (role == "tool") {
    message["name"] = "probe";
    message["tool_call_id"] = "abcdefghi";
  }
  return message;
}

// The bytes of message `index`'s fields in the text, white space left out.
std::string ContentOf(const RenderedConversation& rendered, size_t index) {
  std::string content;
  for (const MessageSpan& span : rendered.message_spans) {
    if (!span.content || span.message != static_cast<int>(index)) continue;
    for (uint32_t i = span.begin; i < span.end; ++i) {
      if (static_cast<unsigned char>(rendered.text[i]) > ' ') content += rendered.text[i];
    }
  }
  return content;
}

struct PlaceResult {
  bool rendered = false;  // one of the renderings succeeded
  bool text = false, list = false;
};

PlaceResult TryPlace(int place, const std::string& role, const RenderProbe& render) {
  PlaceResult result;
  for (const bool fillers_as_list : {false, true}) {
    const auto content = [&](Json probed) -> std::optional<std::string> {
      size_t index = 0;
      const Json messages =
          Conversation(place, ProbedMessage(role, std::move(probed)), fillers_as_list, &index);
      const absl::StatusOr<RenderedConversation> rendered = render(messages);
      if (!rendered.ok()) return std::nullopt;
      return ContentOf(*rendered, index);
    };
    const auto text = content(kFirst);
    const auto list = content(Json::array({Part(kFirst), Part(kSecond)}));
    result.rendered |= text.has_value() || list.has_value();
    result.text |= text.has_value() && text->find(kFirst) != std::string::npos;
    result.list |= list.has_value() && *list == std::string(kFirst) + kSecond;
    if (result.text || result.list) break;
  }
  return result;
}

bool IsRenderedLikeAnAnswer(const std::string& role, const RoleTraits& traits,
                            const RenderProbe& render) {
  const Json content = traits.wraps_text() ? Json::array({Part(kFirst)}) : Json(kFirst);
  size_t index = 0;
  const auto with = [&](const std::string& name) {
    return render(Conversation(2, ProbedMessage(name, content), traits.wraps_text(), &index));
  };
  const absl::StatusOr<RenderedConversation> own = with(role), answer = with("assistant");
  return own.ok() && answer.ok() && own->text == answer->text;
}

}  // namespace

RoleTraits ProbeRole(const std::string& role, const RenderProbe& render) {
  RoleTraits traits{.refused = true};
  bool printed_first = false;
  for (int place = 0; place < kNumPlaces && !traits.printed; ++place) {
    const PlaceResult result = TryPlace(place, role, render);
    traits.refused &= !result.rendered;
    traits.printed = result.text || result.list;
    if (!traits.printed) continue;
    printed_first = place == 0;
    traits.takes_text = result.text;
    traits.takes_list = result.list;
  }
  traits.answers =
      role == "assistant" || (traits.printed && IsRenderedLikeAnAnswer(role, traits, render));
  if (role != "developer" || printed_first) return traits;
  const PlaceResult system = TryPlace(0, "system", render);
  if (!system.text && !system.list) return traits;
  return {.printed = true,
          .takes_text = system.text,
          .takes_list = system.list,
          .rendered_as = "system"};
}

}  // namespace trainerd::engine
