#!/usr/bin/env bash
# Run COMMAND with this process id, and save its stdin and stdout in FOLDER.
#     record.sh FOLDER COMMAND ...
folder=$1
shift
exec 3<&0 4>&1
exec "$@" \
  < <(exec tee "$folder/in.$$" <&3 3<&- 4>&- 2> /dev/null) \
  > >(exec tee "$folder/out.$$" >&4 3<&- 4>&- 2> /dev/null) \
  2>> "$folder/err" 3<&- 4>&-
