/*
 * The routes of the admin listener, on which models are loaded, activated and unloaded. Loop thread
 * only.
 */
#ifndef SERVER_ROUTES_ADMIN_H
#define SERVER_ROUTES_ADMIN_H

struct request;

void admin_discover(struct request *r);
void admin_list_models(struct request *r);
void admin_load_model(struct request *r);
void admin_activate_model(struct request *r);
void admin_unload_model(struct request *r);

#endif
