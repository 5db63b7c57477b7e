// interop server|client --flag=value…
#include "interop.h"

int main(int count, char **arguments) {
  Flags flags;
  for (int index = 2; index < count; index++) {
    std::string argument = arguments[index];
    auto equals = argument.find('=');
    if (argument.compare(0, 2, "--") != 0 || equals == std::string::npos) {
      std::cerr << argument << " is no flag\n";
      return 2;
    }
    flags[argument.substr(2, equals - 2)] = argument.substr(equals + 1);
  }
  std::string verb = count > 1 ? arguments[1] : "";
  if (verb == "server") return serve(flags);
  if (verb == "client") return run_case(flags);
  std::cerr << "interop server|client --flag=value\n";
  return 2;
}
