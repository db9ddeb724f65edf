/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The two ways of engine.h. Each call does one batch, so that neither starves the other. */

struct engine;

void datapath_from_tun(struct engine *e);
void datapath_from_network(struct engine *e);

/* What was received and joined goes to the TUN. */
void datapath_flush_tun(struct engine *e);
