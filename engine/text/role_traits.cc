// SPDX-License-Identifier: Apache-2.0
#include "engine/text/role_traits.h"

#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

// Without white space, quotes or markup, which a template may strip or escape.
constexpr char kPartKey[] = "type";
constexpr char kFirst[] = "probeone", kSecond[] = "probetwo";

Json Part(const char* text) { return {{kPartKey, "text"}, {"text", text}}; }

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

constexpr size_t kContentPosition = 1;  // of "content" among the keys
Json ProbedMessage(const std::string& role, Json content) {
  Json message = {{"role", role}, {"content", std::move(content)}};
  if (role == "tool") {
    message["name"] = "probe";
    message["tool_call_id"] = "abcdefghi";
  }
  return message;
}

// The bytes of message `index`'s fields in the text, in lower case, without white space.
std::string ContentOf(const RenderedConversation& rendered, size_t index) {
  std::string content;
  for (const MessageSpan& span : rendered.message_spans) {
    if (!span.content || span.message != static_cast<int>(index)) continue;
    for (const char c : std::string_view(rendered.text).substr(span.begin, span.end - span.begin)) {
      if (static_cast<unsigned char>(c) > ' ') {
        content += absl::ascii_tolower(static_cast<unsigned char>(c));
      }
    }
  }
  return content;
}

struct PlaceResult {
  // One of the renderings succeeded; one of them has a byte of the content.
  bool rendered = false, printed = false;
  // All of the content was printed, given as text, as a list, or as a list of one part.
  bool text = false, list = false, one_part = false;
  bool found() const { return text || list || one_part; }
};

PlaceResult TryPlace(int place, const std::string& role, const RenderProbe& render) {
  PlaceResult result;
  const std::string both = std::string(kFirst) + kSecond;
  for (const bool fillers_as_list : {false, true}) {
    // Whether `expected` was printed, and the structure of a list was not.
    const auto prints = [&](Json content, const std::string& expected) {
      size_t index = 0;
      const Json messages =
          Conversation(place, ProbedMessage(role, std::move(content)), fillers_as_list, &index);
      const absl::StatusOr<RenderedConversation> rendered = render(messages);
      if (!rendered.ok()) return false;
      result.rendered = true;
      result.printed |= rendered->IsKeyRendered(index, kContentPosition);
      const std::string content_bytes = ContentOf(*rendered, index);
      return content_bytes.find(expected) != std::string::npos &&
             content_bytes.find(kPartKey) == std::string::npos;
    };
    result.text = prints(kFirst, kFirst);
    result.list = prints(Json::array({Part(kFirst), Part(kSecond)}), both);
    if (!result.text && !result.list) {
      result.one_part = prints(Json::array({Part(kFirst)}), kFirst);
    }
    if (result.found()) break;
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
  bool printed_first = false, found = false;
  for (int place = 0; place < kNumPlaces && !found; ++place) {
    const PlaceResult result = TryPlace(place, role, render);
    traits.refused &= !result.rendered;
    traits.printed |= result.printed;
    printed_first |= place == 0 && result.printed;
    found = result.found();
    if (!found) continue;
    traits.takes_text = result.text;
    traits.takes_list = result.list;
    traits.takes_one_part = result.one_part;
  }
  traits.answers =
      role == "assistant" || (traits.printed && IsRenderedLikeAnAnswer(role, traits, render));
  if (role != "developer" || printed_first) return traits;
  const PlaceResult system = TryPlace(0, "system", render);
  if (!system.found()) return traits;
  return {.printed = true,
          .takes_text = system.text,
          .takes_list = system.list,
          .takes_one_part = system.one_part,
          .rendered_as = "system"};
}

}  // namespace trainerd::engine
