#include "server/system/stall.h"

bool stall_look(struct stall *s, uint64_t steps, uint64_t rows)
{
    bool was_stalled = s->is_stalled;
    s->is_stalled = steps == s->steps && rows > 0 && s->had_rows;
    s->steps = steps;
    s->had_rows = rows > 0;
    return s->is_stalled != was_stalled;
}
